"""How people write configs, by name."""

from __future__ import annotations

import ast

from codegen.imports import Imports, first_name
from codegen.static.scopes import Scope, changed_names


def form_of(configs: ast.expr | None, scope: Scope, imports: Imports) -> str:
    """The name of the way in which the argument `configs` of an autotune is written."""
    match configs:
        case None:
            return "none"
        case ast.List(elts=[]):
            return "empty list"
        case ast.List(elts=elements):
            starred = any(isinstance(element, ast.Starred) for element in elements)
            return "list with starred elements" if starred else "inline list"
        case ast.ListComp():
            return "comprehension"
        case ast.BinOp(op=ast.Add()):
            return "sum of lists"
        case ast.IfExp():
            return "conditional"
        case ast.Name(id=name):
            return _form_of_name(name, scope)
        case ast.Call(func=ast.Name(id="list" | "tuple" | "sorted" | "filter")):
            names = (node.id for node in ast.walk(configs) if isinstance(node, ast.Name))
            return "filter" if "filter" in names else "expression"
        case ast.Call(func=function):
            return _form_of_call(function, scope, imports)
    return "expression"


def _form_of_call(function: ast.expr, scope: Scope, imports: Imports) -> str:
    if isinstance(function, ast.Name):
        statements = scope.binders(function.id)
        if any(isinstance(statement, ast.FunctionDef) for statement in statements):
            return "factory in this file"
    return "imported factory" if first_name(function) in imports.table else "expression"


def _form_of_name(name: str, scope: Scope) -> str:
    binding = scope.binding(name)
    if binding.varies and not binding.statements:
        return "parameter"
    if any(isinstance(s, ast.Import | ast.ImportFrom) for s in binding.statements):
        return "imported name"
    if any(name in changed_names(statement) for statement in binding.statements):
        return "name changed on the way"
    if not all(isinstance(s, ast.Assign | ast.AnnAssign) for s in binding.statements):
        return "name bound under conditions"
    if len(binding.statements) > 1:
        return "name bound more than once"
    return "shared name" if scope.names.reads.get(name, 0) > 1 else "name"
