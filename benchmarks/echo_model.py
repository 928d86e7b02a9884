"""A model of MLflow that does nothing: what the server itself costs."""

from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class Echo(PythonModel):
    def predict(self, context: Any, model_input: list[dict[str, Any]]):
        return model_input


set_model(Echo())
