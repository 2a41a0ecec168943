"""Generates the committed Python stubs in proto/gen from the contracts in proto/indelible.

`python proto/generate.py` writes them; `python proto/generate.py --check` fails when they have drifted.
"""

import filecmp
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent


def generate(target: Path) -> None:
    """Writes the stubs of every contract below `target`."""
    contracts = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("indelible/**/*.proto"))
    # The well-known types come with grpcio-tools.
    arguments = ["protoc", f"-I{ROOT}", f"-I{files('grpc_tools') / '_proto'}"]
    arguments += [f"--{output}={target}" for output in ("python_out", "grpc_python_out")]
    arguments += [f"--{output}=quiet:{target}" for output in ("mypy_out", "mypy_grpc_out")]
    if protoc.main([*arguments, *contracts]) != 0:
        sys.exit("the contracts do not compile; see above")
    for folder in target.rglob("*/"):
        (folder / "__init__.py").touch()


def drifted(committed: Path, fresh: Path) -> list[str]:
    """Names of the stubs that differ from what the contracts say now."""
    names = {
        str(path.relative_to(base)) for base in (committed, fresh) for path in base.rglob("*.py*") if path.is_file()
    }
    names = {name for name in names if "__pycache__" not in name and not name.endswith(".pyc")}
    _, differing, missing = filecmp.cmpfiles(committed, fresh, sorted(names), shallow=False)
    return differing + missing


def main() -> None:
    """Writes the stubs, or with --check only compares."""
    if sys.argv[1:] != ["--check"]:
        generate(ROOT / "gen")
        return
    with tempfile.TemporaryDirectory() as fresh:
        generate(Path(fresh))
        if names := drifted(ROOT / "gen", Path(fresh)):
            sys.exit(f"stubs out of date, run `make stubs`: {', '.join(names)}")


if __name__ == "__main__":
    main()
