"""A model of MLflow that only checks the request: what the server itself costs."""

from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from dcgan.serving.requests import DigitRequest


class Echo(PythonModel):
    def predict(self, context: Any, model_input: list[DigitRequest]):
        return [request.digits for request in model_input]


set_model(Echo())
