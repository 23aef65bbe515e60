"""The command line: `sam4d WORD ...`. Bad input is one line on standard error and exit code 2."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias, get_args

from backend.commands import checkpoints, doctor, evaluation, files, generation, jobs, projects, services, training
from backend.data_engine import DATA_ENGINE
from backend.embedded import ChildProcessFailedError, terminated_like_interrupted
from backend.errors import one_line
from backend.settings import Settings, TrainingMode
from converters.exports import LABEL_FORMATS
from sam4d.evaluation.report import PARTS
from sam4d.predictor import DeviceName, EngineName
from sam4d.structures import InputError

Command: TypeAlias = Callable[[argparse.Namespace, Settings], int]

DISTRIBUTION = "sam4d-label-studio"
DEFAULT_DIRECTORY = Path(".sam4d")
DEFAULT_LABEL_STUDIO = Path(__file__).parents[1] / ".venv-label-studio"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 a part failed, 2 bad input, 130 interrupted."""
    parsed = build_parser().parse_args(arguments)
    try:
        command: Command = parsed.command
        with terminated_like_interrupted():
            return command(parsed, _with_engine(Settings.from_environment(), parsed))
    except InputError as error:
        print(f"sam4d: {one_line(str(error))}", file=sys.stderr)
        return 2
    except ChildProcessFailedError as error:
        print(f"sam4d: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("sam4d: interrupted", file=sys.stderr)
        return 130


class _Version(argparse.Action):
    """Looks the version up where it is asked for, and not for every other word."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"sam4d {version(DISTRIBUTION)}")
        parser.exit()


def _with_engine(settings: Settings, parsed: argparse.Namespace) -> Settings:
    """What the command line says of the engine wins over the environment."""
    given = {name: value for name in ("engine", "checkpoint", "device") if (value := getattr(parsed, name, None)) is not None}
    if given.get("engine") == DATA_ENGINE:
        # It works with the engine of the environment.
        del given["engine"]
    return replace(settings, **given)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sam4d", description="One click: an object's masks, points and cuboids over a whole drive, in Label Studio."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    words = parser.add_subparsers(required=True, metavar="WORD")
    _add_services(words)
    _add_projects(words)
    _add_files(words)
    _add_evaluation(words)
    _add_training(words)
    _add_checkpoints(words)
    return parser


def _add_services(words: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    up = words.add_parser("up", help="Label Studio and the backend on this machine, until Ctrl-C")
    demo = words.add_parser("demo", help="up, with a synthetic drive imported, pre-annotated and opened")
    for word, command in ((up, services.run_up), (demo, services.run_demo)):
        word.set_defaults(command=command)
        _add_directory(word)
        _add_engine(word)
        word.add_argument("--port", type=int, default=8080, help="Label Studio's; 0 picks a free one (default %(default)s)")
        word.add_argument("--backend-port", type=int, default=9090, help="the backend's; 0 picks a free one (default %(default)s)")
        word.add_argument("--label-studio", type=Path, default=DEFAULT_LABEL_STUDIO, help="its virtual environment (default %(default)s)")
    demo.add_argument("--frames", type=int, default=10, help="of the synthetic drive, where there is none yet (default %(default)s)")
    demo.add_argument("--no-browser", action="store_true", help="do not open a browser")
    examine = words.add_parser("doctor", help="look whether all is as a click needs it, and say what to mend")
    examine.set_defaults(command=doctor.run_doctor)
    examine.add_argument("--project", metavar="NAME", help="also this project: its configuration, connection and files")
    examine.add_argument("--json", action="store_true", help="the findings as JSON on standard output")
    _add_directory(examine)
    _add_engine(examine)
    serve = words.add_parser("serve", help="the backend alone; settings come from the environment")
    serve.set_defaults(command=services.run_serve)
    serve.add_argument("--show-settings", action="store_true", help="print every setting, its variable and its default, and exit")
    serve.add_argument("--json", action="store_true", help="for --show-settings: as JSON on standard output")
    _add_engine(serve)
    refresh = words.add_parser("refresh-viewer", help="this version's 3D view in place of an older one in SAM4D_DATA_ROOT")
    refresh.set_defaults(command=services.run_refresh_viewer)


def _add_projects(words: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    imports = words.add_parser("import", help="make a project's tasks of drives")
    imports.set_defaults(command=projects.run_import)
    imports.add_argument("sequences", nargs="+", metavar="SEQUENCE", help="folder of a drive, or s3://BUCKET/FOLDER")
    imports.add_argument("--project", required=True, metavar="NAME", help="made where there is none of this name")
    imports.add_argument("--labels", help="with commas between (default: the project's own, else Car,Truck,Bus,Pedestrian,...)")
    imports.add_argument("--with-labels", action="store_true", help="the drives' own labels become annotations, to be corrected")
    imports.add_argument(
        "--label-map", metavar="FILE", help="for --with-labels: a JSON object {their label: our name, or null to leave it out}"
    )
    imports.add_argument(
        "--masks-per-task",
        type=_positive,
        metavar="N",
        help="for --with-labels: further objects get their cuboids alone (default: SAM4D_MASKS_PER_TASK, else 60)",
    )
    imports.add_argument("--frames-per-task", type=int, default=20, metavar="N", help="default %(default)s")
    imports.add_argument("--overlap", type=int, default=2, metavar="N", help="frames that consecutive tasks share (default %(default)s)")
    imports.add_argument("--range", type=float, default=50.0, metavar="METRES", help="of the bird's-eye view (default %(default)s)")
    imports.add_argument("--backend", metavar="URL", help="where Label Studio finds the backend")
    imports.add_argument("--prewarm", action="store_true", help="then prepare the project's frames, as `sam4d prewarm` does")

    preannotate = words.add_parser("preannotate", help="find a project's objects without a click")
    preannotate.set_defaults(command=projects.run_preannotate)
    preannotate.add_argument("project", metavar="PROJECT")
    preannotate.add_argument("--resume", action="store_true", help="only tasks without a prediction of this engine version")
    preannotate.add_argument(
        "--masks-per-task", type=_positive, metavar="N", help="the best objects, up to N masks (default: SAM4D_MASKS_PER_TASK, else 60)"
    )
    preannotate.add_argument(
        "--doubtful-first", action="store_true", help="Label Studio then serves the tasks by their prediction's score, the lowest first"
    )
    preannotate.add_argument("--per-frame", action="store_true", help="for the data engine: each frame by itself, without ego poses")
    preannotate.add_argument(
        "--cluster", metavar="local|ray://HOST:PORT", help="many tasks at once, on the cores or GPUs of this machine or of a Ray cluster"
    )
    preannotate.add_argument("--workers", type=_positive, metavar="N", help="for --cluster (default: one for each GPU, else each core)")

    prewarm = words.add_parser("prewarm", help="prepare a project's frames, so that first clicks do not wait for them")
    prewarm.set_defaults(command=projects.run_prewarm)
    prewarm.add_argument("project", metavar="PROJECT")

    queued = words.add_parser("jobs", help="tasks of Label Studio's Retrieve Predictions that wait for a prediction, or failed")
    queued.set_defaults(command=jobs.run_jobs)
    queued.add_argument("project", metavar="PROJECT", nargs="?", help="default: all projects")

    export = words.add_parser("export", help="write what people labelled")
    export.set_defaults(command=projects.run_export)
    export.add_argument("project", metavar="PROJECT")
    export.add_argument("--format", required=True, choices=LABEL_FORMATS)
    export.add_argument("--label-map", metavar="FILE", help="a JSON object {our label: their name, or null to leave it out}")
    export.add_argument("--output", required=True, metavar="DIR")
    export.add_argument(
        "--include",
        choices=("annotations", "drafts", "predictions"),
        default="annotations",
        help="what was submitted; or also unsubmitted drafts; or also predictions of tasks that nobody labelled (default %(default)s)",
    )
    export.add_argument("--resume", action="store_true", help="go on with what an interrupted export to the same folder has read")
    export.add_argument("--overwrite", action="store_true", help="replace files that are there")
    _add_engine(imports)
    _add_engine(preannotate, DATA_ENGINE)
    _add_engine(prewarm)
    for word in (imports, preannotate, prewarm, queued, export):
        _add_directory(word)
        word.add_argument("--json", action="store_true", help="the result as JSON on standard output")


def _add_files(words: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    simulate = words.add_parser("simulate", help="write the synthetic drive with its exact labels")
    simulate.set_defaults(command=files.run_simulate)
    simulate.add_argument("output", metavar="OUTPUT")
    simulate.add_argument("--seed", type=int, default=0)
    simulate.add_argument("--frames", type=int, default=20)
    simulate.add_argument("--beams", type=int, choices=(32, 64, 128), default=64, help="of the LiDAR (default %(default)s)")
    simulate.add_argument(
        "--hard", action="store_true", help="slopes, bushes, groups of people, a trailer, noise, bent lenses, rolling shutter"
    )

    convert = words.add_parser("convert", help="a recorded drive, or its labels, into another layout")
    convert.set_defaults(command=files.run_convert)
    convert.add_argument("input", metavar="IN", help="a drive in any layout that docs/formats.md lists")
    convert.add_argument("output", metavar="OUT")
    convert.add_argument(
        "--format", choices=LABEL_FORMATS, default="sequence", help="a whole sequence folder, or the labels as another format"
    )
    convert.add_argument("--sequence", metavar="NAME", help="which one, where IN holds several")
    convert.add_argument("--between-keyframes", action="store_true", help="nuScenes: all sweeps, not only the labelled keyframes")
    convert.add_argument("--allow-missing", action="store_true", help="KITTI, PandaSet, plain folders: go on where sweeps or images lack")
    convert.add_argument("--estimate-poses", action="store_true", help="from the sweeps alone, by KISS-ICP (extra: poses)")
    convert.add_argument("--without-labels", action="store_true", help="the recording alone")
    convert.add_argument("--label-map", metavar="FILE", help="a JSON object {our label: their name, or null to leave it out}")
    convert.add_argument("--resume", action="store_true", help="go on with what an interrupted run of the same command left behind")
    convert.add_argument("--overwrite", action="store_true", help="replace what is there")

    generate = words.add_parser("generate", help="label a whole drive without a click: sweeps, images and ego poses together")
    generate.set_defaults(command=generation.run_generate)
    generate.add_argument("sequence", metavar="SEQUENCE", help="folder of a drive, with ego poses")
    generate.add_argument("output", metavar="OUT")
    generate.add_argument("--format", choices=LABEL_FORMATS, default="sequence", help="of the labels (default %(default)s)")
    generate.add_argument("--labels", help="with commas between (default: Car,Truck,Bus,Pedestrian,...)")
    masks = generate.add_mutually_exclusive_group()
    masks.add_argument("--with-masks", action="store_true", help="start from the masks of the drive's own labels in its images")
    masks.add_argument(
        "--masks",
        type=Path,
        nargs="+",
        metavar="PATH",
        help="start from masks in COCO files or folders of Waymo-4DSeg labels",
    )
    masks.add_argument("--vfm", type=Path, metavar="FOLDER", help="start from masks that SAM 2 finds: config.json and .safetensors weights")
    generate.add_argument(
        "--per-frame", action="store_true", help="each frame by itself, without ego poses: where there are none, or wrong ones"
    )
    generate.add_argument("--label-map", metavar="FILE", help="a JSON object {our label: their name, or null to leave it out}")
    generate.add_argument(
        "--scene",
        action="append",
        metavar="FILE",
        help="also write the reconstructed scene: .s4ds keeps all of it, .ply is a point cloud of one frame; may be given twice",
    )
    generate.add_argument(
        "--scene-frame", type=int, default=0, metavar="N", help="where moving objects stand in the point cloud (default %(default)s)"
    )
    generate.add_argument("--overwrite", action="store_true", help="replace what is there")
    _add_engine(generate)

    scene = words.add_parser("scene", help="a scene that generate kept, as a point cloud")
    scene.set_defaults(command=generation.run_scene)
    scene.add_argument("scene", metavar="SCENE", help="a file of `sam4d generate --scene` (.s4ds)")
    scene.add_argument("output", metavar="OUT", help="a point cloud (.ply)")
    scene.add_argument("--frame", type=int, default=0, metavar="N", help="where moving objects stand (default %(default)s)")
    scene.add_argument("--overwrite", action="store_true", help="replace what is there")

    label_config = words.add_parser("label-config", help="print the labelling configuration of a drive")
    label_config.set_defaults(command=files.run_label_config)
    label_config.add_argument("sequence", metavar="SEQUENCE")
    label_config.add_argument("--labels", help="with commas between")


def _add_evaluation(words: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    evaluate = words.add_parser("evaluate", help="click on labelled drives' objects and measure the answers (docs/evaluation.md)")
    evaluate.set_defaults(command=evaluation.run_evaluate)
    _add_engine(evaluate)
    evaluate.add_argument("sequences", nargs="+", metavar="SEQUENCE", help="folder of a drive with labels/cuboids.json")
    evaluate.add_argument("--parts", nargs="+", choices=PARTS, metavar="PART", help=f"only these: {', '.join(PARTS)}")
    evaluate.add_argument("--pictures", type=Path, metavar="DIR", help="write pictures of the ten answers that fit worst (PNG)")
    evaluate.add_argument("--json", action="store_true", help="every object's figures as JSON on standard output")


def _add_training(words: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    train = words.add_parser("train", help="learn from what people submitted in a project; the new version answers only if it is better")
    train.set_defaults(command=training.run_train)
    train.add_argument("project", metavar="PROJECT", nargs="?")
    train.add_argument(
        "--from", dest="folders", nargs="+", metavar="FOLDER", help="in place of a project: drives on disk whose labels have masks"
    )
    train.add_argument(
        "--synthetic", type=Path, metavar="FOLDER", help="in place of both: a small network from scratch on simulated drives, a file there"
    )
    train.add_argument(
        "--mode",
        choices=get_args(TrainingMode),
        help="of the network: mask decoder and prompt encoders, the memory too, or all of it (default SAM4D_TRAINING_MODE, else heads)",
    )
    train.add_argument("--steps", type=_positive, metavar="N", help="of the network's training (default SAM4D_TRAINING_STEPS, else 300)")
    train.add_argument("--held-out", type=_share, metavar="SHARE", help="of the tasks to judge by (default SAM4D_HELD_OUT_SHARE, else 0.2)")
    train.add_argument("--use-anyway", action="store_true", help="the new version answers even where it is not better")
    train.add_argument("--stop", action="store_true", help="end the project's training that waits or runs")
    _add_directory(train)
    _add_engine(train)
    train.add_argument("--json", action="store_true", help="the result as JSON on standard output")


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0.01 <= share <= 0.9:
        raise argparse.ArgumentTypeError(f"expected a number from 0.01 to 0.9, found {text!r}")
    return share


def _add_checkpoints(words: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    checkpoint = words.add_parser("checkpoint", help="what the engine has learnt: versions, and which of them answers; or look at a file")
    what = checkpoint.add_subparsers(required=True, metavar="WHAT")
    inspect = what.add_parser("inspect", help="say whether the network can use the file, and what it is called")
    inspect.set_defaults(command=checkpoints.run_inspect)
    inspect.add_argument("checkpoint", type=Path, metavar="FILE", help=".pth or .safetensors")
    listed = what.add_parser("list", help="the versions of the settings' engine, and which one answers")
    listed.set_defaults(command=checkpoints.run_list)
    used = what.add_parser("use", help="from now on this version answers; servers follow without a restart")
    used.set_defaults(command=checkpoints.run_use)
    used.add_argument("version", metavar="VERSION", help="a name of sam4d checkpoint list; base is what the settings name")
    back = what.add_parser("roll-back", help="the version that answered before answers again")
    back.set_defaults(command=checkpoints.run_roll_back)
    for word in (listed, used, back):
        _add_directory(word)
        _add_engine(word)
        word.add_argument("--json", action="store_true", help="the result as JSON on standard output")


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, found {text!r}")
    return int(text)


def _add_engine(word: argparse.ArgumentParser, *more: str) -> None:
    usual = "default SAM4D_ENGINE, else auto: the network where there is a checkpoint"
    drives = f"; {DATA_ENGINE} looks at each drive as a whole, with SAM4D_ENGINE's" if DATA_ENGINE in more else ""
    word.add_argument("--engine", choices=(*get_args(EngineName), *more), help=usual + drives)
    word.add_argument("--checkpoint", type=Path, metavar="FILE", help="the network's weights (default SAM4D_CHECKPOINT)")
    word.add_argument("--device", choices=get_args(DeviceName), help="of the network (default SAM4D_DEVICE, else auto)")


def _add_directory(word: argparse.ArgumentParser) -> None:
    word.add_argument("--directory", type=Path, default=DEFAULT_DIRECTORY, help="where `sam4d up` keeps everything (default %(default)s)")


if __name__ == "__main__":
    sys.exit(main())
