"""The generator as a model of MLflow: requests for digits in, pictures or gray levels out.

A registered model has a copy of this file and of what it imports, which MLflow runs: when the server starts, and for
each call. The weights are read without running code.
"""

import base64
import logging
from typing import Any

import torch
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext
from pydantic import ModelWrapValidatorHandler, ValidationError, model_validator

from dcgan.gan.model_files import load_network
from dcgan.images import png
from dcgan.serving.drawing import draw, lines
from dcgan.serving.requests import DigitRequest, check_total, explain

WEIGHTS = "generator"  # name of the artifact


class Request(DigitRequest):
    """A request whose mistakes MLflow answers with status 400 and one line."""

    @model_validator(mode="wrap")
    @classmethod
    def _refuse(cls, data: Any, handler: ModelWrapValidatorHandler["Request"]) -> "Request":
        try:
            return handler(data)
        except ValidationError as error:
            raise MlflowException.invalid_parameter_value(explain(error)) from None


class DigitModel(PythonModel):
    """Answers each request with {"png": base64} or, for the format "idx", {"images": rows, "labels": digits}."""

    def load_context(self, context: PythonModelContext) -> None:
        torch.set_num_threads(1)  # calls run in threads of the server; more would only compete for the cores
        self.generator = load_network(context.artifacts[WEIGHTS], "generator")

    def predict(self, context: PythonModelContext, model_input: list[Request]):  # MLflow reads the type of the input
        """
        Raises:
            MlflowException: status 400: more digits than one call may ask for; 500: the server is at fault.
        """
        if (refusal := check_total(model_input)) is not None:
            raise MlflowException.invalid_parameter_value(refusal)
        try:
            return [self._answer(request) for request in model_input]
        except Exception:  # MLflow would send the traceback to the client
            logging.getLogger(__name__).exception("A request failed.")
            raise MlflowException("the digits could not be drawn; the server's log says why") from None

    def _answer(self, request: DigitRequest) -> dict[str, Any]:
        digits = request.digits * (request.count or 1)
        images = draw(self.generator, digits, [request.seed or 0] * len(digits))
        if request.format == "idx":
            return {"images": images.reshape(len(images), -1).tolist(), "labels": [int(digit) for digit in digits]}
        picture = png(lines(images, len(request.digits)))
        return {"png": base64.b64encode(picture).decode("ascii")}


set_model(DigitModel())
