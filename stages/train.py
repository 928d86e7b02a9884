"""Stage train: trains the DCGAN; writes its networks, training curves and figures."""

from pathlib import Path

from dcgan.data.mnist import load_split
from dcgan.gan.training_session import training_fingerprint, training_session
from dcgan.params import load_params
from dcgan.paths import RAW_DATA, local_state, root_folder
from dcgan.stage_times import seconds_after_training
from dcgan.support.errors import exit_on_user_error
from dcgan.support.stop_signals import stop_requests
from dcgan.tracked_outputs import PIPELINE
from dcgan.tracking.provenance import log_environment
from dcgan.tracking.session import start_or_resume, tracked
from dcgan.tracking.stage_outputs import log_training, log_training_parameters


@exit_on_user_error
def main() -> None:
    params = load_params()  # torch takes seconds to import: a mistake in params.yaml is reported before
    import torch

    from dcgan.gan.device import describe_machine, keep_freed_memory, resolve_device, resolve_precision
    from dcgan.gan.processes import launched_processes
    from dcgan.gan.trainer import Trainer
    from dcgan.gan.training_loop import follow_training, run_training
    from dcgan.gan.training_outputs import write_networks, write_training_metrics

    keep_freed_memory()
    processes = launched_processes()
    device = resolve_device()
    processes.use(device, params.train.workers)
    precision = resolve_precision(params.train.precision, device)
    settings = params.train.model_copy(update={"precision": precision})
    machine = describe_machine(device)
    shaping = [params.model.model_dump(), params.train.model_dump(), precision, machine | processes.shaping(device)]
    fingerprint = training_fingerprint(shaping, RAW_DATA.glob("train-*"))
    images, labels = (torch.from_numpy(array) for array in load_split(RAW_DATA, "train"))
    root = root_folder()
    if processes.rank > 0:
        with stop_requests() as stop:
            processes.connect(device, stop)
            follow_training(Trainer(params.model, settings, images, labels, device, processes), stop)
        return
    with training_session(local_state(root), fingerprint, Path()) as session:
        processes.connect(device, session.stop)
        trainer = Trainer(params.model, settings, images, labels, device, processes)
        resolved = {
            "seed": settings.seed,
            "conditional": params.model.conditional,
            "device": device,
            "precision": precision,
            "workers": trainer.workers,
        }
        run_log = start_or_resume(root, session.run_log_id_file, f"train-{fingerprint[:6]}")
        if not session.is_finished:
            log_environment(run_log, session.folder, machine | resolved)
        log_training_parameters(PIPELINE, run_log, params.model_dump())
        with tracked(root, run_log):
            later_s = seconds_after_training(params)
            shown = {"picture": local_state(root) / "progress.png", "later_s": later_s}
            history = run_training(trainer, session.folder, run_log, session.stop, **shown)
            write_networks(trainer, Path())
            write_training_metrics(trainer, history, resolved, Path())
            log_training(PIPELINE, run_log, Path(), params.model_dump())
        session.finish_and_exit()


if __name__ == "__main__":
    main()
