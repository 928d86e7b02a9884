"""Stage download: MNIST's four files into data/raw, verified."""

from dcgan.download import fetch
from dcgan.errors import exit_on_user_error
from dcgan.params import load_params


@exit_on_user_error
def main() -> None:
    fetch("data/raw", load_params().download.mirror)


if __name__ == "__main__":
    main()
