"""Pages made from the code: the Python API, the command line, the routes of the bridge, and the C headers."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

import rtsr
import rtsr.cli

HEADERS = Path(__file__).resolve().parents[1] / "native" / "include"


def pages() -> dict[str, str]:
    """Return each page by where it is on the site."""
    return {
        "reference/python.md": python(),
        "reference/cli.md": command_line(),
        "reference/http.md": http(),
        "reference/c.md": c_api(),
    }


def python() -> str:
    """Return the page of what `import rtsr` offers; mkdocstrings reads the signatures and docstrings."""
    kinds = {name: getattr(rtsr, name) for name in rtsr.__all__ if name != "__version__"}
    errors = [name for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Exception)]
    order = ["load", "enhance", *(name for name in kinds if name not in ("load", "enhance", *errors))]
    order += ["RtsrError", *(name for name in errors if name != "RtsrError")]
    parts = ["# Python API\n\nWhat `import rtsr` offers. The [home page](../index.md) has a first program."]
    parts += [f"::: {kinds[name].__module__}.{name}" for name in order]
    return "\n\n".join(parts) + "\n"


def commands() -> dict[str, Any]:
    """Return the commands of `rtsr` by name, those of a group as "group command"."""
    rtsr.cli.register()
    return dict(_walk(typer.main.get_command(rtsr.cli.app), ""))


def _walk(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    for below, one in getattr(command, "commands", {}).items():
        full = f"{name} {below}".strip()
        if getattr(one, "commands", None):
            yield from _walk(one, full)
        elif not one.hidden:
            yield full, one


def command_line() -> str:
    """Return the page of the commands, their arguments and options."""
    parts = ["# Command line\n\n`rtsr COMMAND --help` prints the same in a terminal."]
    for name, command in sorted(commands().items()):
        arguments = [one for one in command.params if one.param_type_name == "argument"]
        options = [one for one in command.params if one.param_type_name == "option" and one.name != "help"]
        words = [f"rtsr {name}", *(["[OPTIONS]"] if options else []), *(_metavar(one) for one in arguments)]
        parts += [f"## rtsr {name}", f"```\n{' '.join(words)}\n```", (command.help or "").strip()]
        if rows := [*map(_argument, arguments), *(_option(one, command) for one in options)]:
            parts.append("\n".join(["| | default | |", "|---|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def _metavar(argument: Any) -> str:
    name = (argument.metavar or argument.name.upper()) + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _argument(one: Any) -> str:
    return f"| `{_metavar(one)}` | | {_cell(one.help or '')} |"


def _option(one: Any, command: Any) -> str:
    value = "" if one.is_flag else f" {one.metavar or one.display_type(command.context_class(command))}"
    names = "/".join([*one.opts, *one.secondary_opts])
    default = "" if one.default in (None, False, (), []) or callable(one.default) else f"`{one.default}`"
    return f"| `{_cell(names + value)}` | {default} | {_cell(one.help or '')} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def routes() -> list[tuple[str, str, str]]:
    """Return method, path and docstring of every route of the bridge but the files of its page."""
    from rtsr.bridge.config import BridgeSettings
    from rtsr.bridge.service import BridgeService

    service = BridgeService(BridgeSettings(backend="null", calls=1))  # it opens no port until it runs
    found = []
    for route in service.app.router.routes():
        path = route.resource.canonical if route.resource else ""
        if route.method != "HEAD" and not getattr(route.handler, "__qualname__", "").startswith("File."):
            found.append((route.method, re.sub(r"\{(\w+)[^/]*\}", lambda m: m[1].upper(), path), route.handler.__doc__))
    service.loop.close()
    return found


def http() -> str:
    """Return the page of the bridge's routes."""
    parts = [
        "# HTTP API\n\nThe requests that `rtsr bridge` answers. [rtsr bridge](../bridge.md#http-api) says what holds "
        "for all: tokens, origins, errors. `ROOM` and `CALL` are names of letters, digits, `-` and `_`."
    ]
    for method, path, text in routes():
        parts += [f"## `{method} {path}`", _as_code(inspect.cleandoc(text))]
    return "\n\n".join(parts) + "\n"


def _as_code(text: str) -> str:
    """Return a text with its pieces of JSON as code."""
    return re.sub(r"(?<!`)(\{[^{}]*\})", r"`\1`", text)


def declarations(header: str) -> list[tuple[str, str]]:
    """Return the comment, "" without one, and the text of each declaration of a header, in its order."""
    text = re.sub(r'^#.*$|^extern "C" \{$|^\}$', "", header, flags=re.MULTILINE)
    found: list[tuple[str, str]] = []
    item = re.compile(r"/\*(.*?)\*/\s*?\n|((?:typedef|RTSR_API)(?:[^;{]|\{[^}]*\})*;[^\n]*)", re.DOTALL)
    comment, end = "", 0
    for match in item.finditer(text):
        apart = text[end : match.start()].count("\n") > 1
        end = match.end()
        if match[1] is not None:
            comment = " ".join(line.strip().lstrip("*").strip() for line in match[1].strip().splitlines())
            continue
        if not comment and found and not apart:
            found[-1] = (found[-1][0], f"{found[-1][1]}\n{match[2]}")
        else:
            found.append((comment, match[2]))
        comment = ""
    return found


def c_api() -> str:
    """Return the page of the C headers."""
    parts = ["# C API\n\nHow to build and link: [librtsr](../native.md)."]
    for name in ("rtsr.h", "rtsr_worker.h"):
        text = (HEADERS / name).read_text()
        about = re.match(r"/\*(.*?)\*/", text, re.DOTALL)
        assert about is not None
        lines = " ".join(line.strip().lstrip("*").strip() for line in about[1].strip().splitlines())
        parts += [f"## {name}", _prose(lines)]
        for comment, code in declarations(text[about.end() :]):
            parts += [f"### {_title(code)}", f"```c\n{code.replace('RTSR_API ', '')}\n```", _prose(comment)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _title(code: str) -> str:
    """Return the names that a declaration declares."""
    if code.startswith("RTSR_API"):
        names = re.findall(r"(\w+)\(", code)
    else:
        names = re.findall(r"(\w+);", re.sub(r"\{.*?\}", "", code, flags=re.DOTALL))
    return ", ".join(f"`{name}`" for name in names)


def _prose(text: str) -> str:
    """Return the text of a comment as Markdown: names and thread marks as code, everything else as it is."""
    marked = re.sub(r"\[(any|audio|both)\]", r"**\1**", text)
    return re.sub(r"(?<![`\w])(\*?(?:rtsr|RTSR)_\w+|\*model|NULL)\b(?!`)", r"`\1`", marked)
