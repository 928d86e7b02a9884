"""Stage download: put MNIST's four files into data/raw and verify them."""

from dcgan.data.download import fetch
from dcgan.params import load_params
from dcgan.paths import RAW_DATA
from dcgan.support.errors import exit_on_user_error


@exit_on_user_error
def main() -> None:
    fetch(RAW_DATA, load_params().download.mirror)


if __name__ == "__main__":
    main()
