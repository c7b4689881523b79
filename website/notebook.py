"""``python -m website.notebook``: runs the cells of the example notebook and keeps their outputs.

The cells run as IPython runs them: in one namespace, with ``await`` at the top level; the value of a last expression is
shown as its ``_repr_html_``, else as its ``repr``. No Jupyter is needed for it.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import json
import sys
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "examples" / "notebook.ipynb"


async def run_cells(cells: list[dict[str, Any]]) -> None:
    """Run the cells of code in order, and replace their outputs.

    Raises:
        Exception: What a cell raises.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    count = 0
    for cell in cells:
        if cell["cell_type"] == "code":
            count += 1
            cell["execution_count"] = count
            cell["outputs"] = await _outputs("".join(cell["source"]), namespace, count)


async def _outputs(source: str, namespace: dict[str, Any], count: int) -> list[dict[str, Any]]:
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    value = None
    with contextlib.redirect_stdout(printed):
        await _run(compile(tree, f"<cell {count}>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), namespace)
        if isinstance(last, ast.Expr):
            expression = ast.Expression(last.value)
            value = await _run(
                compile(expression, f"<cell {count}>", "eval", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), namespace
            )
    outputs: list[dict[str, Any]] = []
    if text := printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": text.splitlines(keepends=True)})
    if value is not None:
        outputs.append(
            {"output_type": "execute_result", "execution_count": count, "metadata": {}, "data": _shown(value)}
        )
    return outputs


async def _run(code: Any, namespace: dict[str, Any]) -> Any:
    value = eval(code, namespace)
    return await value if inspect.isawaitable(value) else value


def _shown(value: object) -> dict[str, list[str]]:
    shown = {"text/plain": repr(value).splitlines(keepends=True)}
    if html := getattr(value, "_repr_html_", None):
        shown["text/html"] = html().splitlines(keepends=True)
        shown["text/plain"] = [f"<{type(value).__name__}>"]
    return shown


def main() -> int:
    """Run the notebook and write it back."""
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    asyncio.run(run_cells(notebook["cells"]))
    NOTEBOOK.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
