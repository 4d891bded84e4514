"""The reference pages say what the code says, and the glossary knows every noun."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from types import ModuleType

import click
import pytest

from rehone.cli.commands import app
from rehone.cli.endings import EXIT_CODES
from rehone.cli.template import sections
from rehone.config import section_model

DOCS = Path(__file__).parents[1] / "docs"


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_docs", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["commands.md", "configuration.md", "records.md"])
def test_a_reference_page_is_what_the_code_would_write_today(name: str) -> None:
    assert (DOCS / "reference" / name).read_text(encoding="utf-8") == _generator().pages()[name]()


def test_the_generator_says_which_page_is_out_of_date(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = _generator()
    generator.PAGES = tmp_path
    assert generator.main([]) == 0
    (tmp_path / "commands.md").write_text("old")
    assert generator.main(["--check"]) == 1
    assert capsys.readouterr().err == "out of date: commands.md: run `python docs/generate.py`\n"


def test_every_command_and_every_option_of_it_is_documented() -> None:
    page = (DOCS / "reference" / "commands.md").read_text(encoding="utf-8")
    commands = list(_generator().every_command(click.Context(app, info_name="rehone")))
    assert {"rehone run", "rehone keys", "rehone keys new"} <= {own.command_path for own in commands}
    for own in commands:
        section = page.split(f"## `{own.command_path}`\n")[1].split("\n## ")[0]
        assert own.command.help
        for option in own.command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert option.help, option.name
                assert all(f"`{name}`" in section for name in option.opts)


def test_every_exit_code_is_documented() -> None:
    page = (DOCS / "reference" / "commands.md").read_text(encoding="utf-8")
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)] == list(EXIT_CODES)


@pytest.mark.parametrize("section", sections())
def test_every_key_is_documented_with_a_description(section: str) -> None:
    page = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
    table = page.split(f"## `[{section}]`\n")[1].split("\n## ")[0]
    for name, field in section_model(section).model_fields.items():
        assert field.description, name
        assert f"\n| `{name}` |" in table


def test_the_glossary_fixes_every_noun_and_every_value_of_an_enumeration() -> None:
    glossary = (DOCS / "glossary.md").read_text(encoding="utf-8")
    defined = set(re.findall(r"^\*\*(.+?)\*\*", glossary, re.MULTILINE))
    nouns = list(_generator().nouns())
    assert len(nouns) > 40
    for name, thing in nouns:
        assert f"`{name}`" in glossary, name
        if issubclass(thing, StrEnum):
            assert [value for value in thing if f"`{value}`" not in glossary] == []
    assert {"champion", "challenger", "run", "version", "generation", "trial", "holdout", "margin"} <= defined


def test_every_command_line_of_the_quickstart_is_one_that_exists() -> None:
    text = (DOCS / "quickstart.md").read_text(encoding="utf-8")
    lines = [line.removeprefix("$ ").strip() for line in re.findall(r"^(?:\$ )?rehone .*$", text, re.MULTILINE)]
    assert len(lines) >= 8
    for line in lines:
        words = line.split(" #")[0].split(" &")[0].split()[1:]
        command = app.commands[words[0]]
        known = {name for option in command.params for name in option.opts}
        assert [word for word in words[1:] if word.startswith("-") and word not in known] == [], line


def test_help_of_every_command_ends_with_success() -> None:
    code = "import sys; from rehone.cli import main; sys.exit(max(main([c, '--help']) for c in sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", code, *app.commands], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
