"""`rtsr plugins`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..errors import MissingDependency, OutputExists
from . import app

FORMATS = ("ladspa", "lv2", "vst3", "clap")  # each in a folder of that name; hosts look for it in ~/.NAME


@dataclass(frozen=True)
class Link:
    """A bundle of ours, and where a host of this user finds it."""

    bundle: Path
    place: Path

    def is_ours(self) -> bool:
        """Return whether there is a link in its place to this bundle, of this installation or another."""
        return self.place.is_symlink() and self.place.readlink().parts[-2:] == self.bundle.parts[-2:]

    def make(self) -> None:
        """Put the link there; raises `OutputExists` where something else is."""
        if self.is_ours():
            self.place.unlink()
        elif self.place.exists() or self.place.is_symlink():
            raise OutputExists(f"{self.place} exists and is no link of ours: remove it first")
        self.place.parent.mkdir(parents=True, exist_ok=True)
        self.place.symlink_to(self.bundle)

    def remove(self) -> None:
        """Remove the link, and nothing else."""
        if self.is_ours():
            self.place.unlink()


def find_plugins() -> Path:
    """Return the folder with the plug-ins: of the wheel, or as built in the checkout."""
    package = Path(__file__).resolve().parents[1]
    places = (package / "data" / "plugins", package.parent / "build" / "native" / "plugin")
    found = next((place for place in places if (place / FORMATS[0]).is_dir()), None)
    if found is None:
        raise MissingDependency("the plug-ins (-DRTSR_PLUGINS=ON)", None, "rtsr plugins")
    return found


def links(plugins: Path, home: Path) -> list[Link]:
    """Return every bundle with its place in a home folder."""
    return [
        Link(bundle, home / f".{name}" / bundle.name)
        for name in FORMATS
        for bundle in sorted((plugins / name).iterdir())
    ]


@app.command()
def plugins(
    install: Annotated[
        bool, typer.Option("--install", help="Link them into ~/.ladspa, ~/.lv2, ~/.vst3, ~/.clap.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove those links.")] = False,
) -> None:
    """Print the folder of the LADSPA, LV2, VST3 and CLAP plug-ins, or let this user's programs find them.

    Examples:

        rtsr plugins --install

        LV2_PATH=$(rtsr plugins)/lv2 lv2ls
    """
    folder = find_plugins()
    if install == remove:
        if install:
            raise typer.BadParameter("expected one of --install and --remove")
        typer.echo(folder)
    for link in links(folder, Path.home()) if install or remove else []:
        if install:
            link.make()
            typer.echo(f"{link.place} → {link.bundle}")
        else:
            link.remove()
