"""The names of a file: which statements bind or change each, found without running anything."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

# Methods that change the list or dict that they are called on.
MUTATORS = frozenset(
    {
        *("append", "clear", "extend", "insert", "pop", "popitem", "remove", "reverse"),
        *("setdefault", "sort", "update"),
    }
)

Body = list[ast.stmt]

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Names:
    """An index of a module, made piece by piece as it is asked for."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.nodes = tuple(ast.walk(tree))
        self._blocks: dict[int, dict[str, Body]] = {}

    def touching(self, block: Body, name: str) -> Body:
        """The statements of a block that bind `name` or change what it holds, in order."""
        index = self._blocks.get(id(block))
        if index is None:
            index = self._blocks[id(block)] = {}
            for statement in block:
                for touched in set(_touched(statement)):
                    index.setdefault(touched, []).append(statement)
        return index.get(name, [])

    @cached_property
    def reads(self) -> dict[str, int]:
        """How often each name is read in the file; one in `__all__` counts as read once more."""
        counts: dict[str, int] = {}
        for node in self.nodes:
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                counts[node.id] = counts.get(node.id, 0) + 1
        for statement in self.touching(self.tree.body, "__all__"):
            for node in ast.walk(statement):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    counts[node.value] = counts.get(node.value, 0) + 1
        return counts

    def may_come_from_elsewhere(self, name: str) -> bool:
        """Whether a name that nothing binds may be there all the same."""
        return self._has_star or name in vars(builtins)

    @cached_property
    def _has_star(self) -> bool:
        imports = (node for node in self.nodes if isinstance(node, ast.ImportFrom))
        return any(alias.name == "*" for node in imports for alias in node.names)

    def changed_from_within(self, name: str) -> bool:
        """Whether some function binds or changes `name` although it is not its own: who knows when."""
        return any(name not in own_names(function) for function in self._changers.get(name, ()))

    def changed_by_alias(self, name: str) -> bool:
        """Whether another name, assigned from this one or with it, is changed."""
        return name in self._changed_aliases

    @cached_property
    def _changed_aliases(self) -> frozenset[str]:
        changed = {name for node in self.nodes for name in _changed(node)}
        aliases: set[str] = set()
        for node in self.nodes:
            if isinstance(node, ast.Assign):
                parts = [part for part in (*node.targets, node.value) if isinstance(part, ast.Name)]
                names = {part.id for part in parts}
                if len(names) > 1 and names & changed:
                    aliases |= names
        return frozenset(aliases)

    @cached_property
    def _changers(self) -> dict[str, list[ast.FunctionDef | ast.AsyncFunctionDef]]:
        """The functions that change what a name holds, or declare it global or nonlocal."""
        changers: dict[str, list[ast.FunctionDef | ast.AsyncFunctionDef]] = {}
        for function in self.nodes:
            if isinstance(function, _FUNCTIONS):
                names: set[str] = set()
                for statement in function.body:
                    for node in _own_nodes(statement):
                        if isinstance(node, ast.Global | ast.Nonlocal):
                            names.update(node.names)
                        names.update(_changed(node))
                for name in names:
                    changers.setdefault(name, []).append(function)
        return changers


@dataclass(frozen=True)
class Binding:
    """The statements that decide what a name holds."""

    statements: tuple[ast.stmt, ...] = ()
    doubt: str | None = None  # why they may not be all there is
    varies: bool = False  # it has no one value, but one by each call or turn


class Scope:
    """What can be seen from where a statement stands."""

    def __init__(self, names: Names, site: ast.stmt) -> None:
        self.names = names
        self._site = site
        # Each scope around the site, outermost first, and in it the blocks on the way to the site: with
        # the statement that goes on, and the block of that one in which it does.
        self._levels: list[tuple[ast.AST, list[tuple[Body, ast.stmt, Body]]]] = []
        path = list(_path(names.tree, site))
        inner_blocks = [*(block for _, block, _ in path[1:]), []]
        for (owner, block, holder), inner in zip(path, inner_blocks, strict=True):
            if isinstance(owner, (ast.Module, ast.ClassDef, *_FUNCTIONS)):
                self._levels.append((owner, []))
            self._levels[-1][1].append((block, holder, inner))

        self._found: dict[str, Binding] = {}

    def binding(self, name: str) -> Binding:
        """The statements that bind or change `name`, of the innermost scope that has any.

        Where branches exclude each other (`if`, `try`), those of the branch that the site is in.
        """
        binding = self._found.get(name)
        if binding is None:
            binding = self._find(name)
            if self.names.changed_from_within(name):
                binding = replace(binding, doubt="is changed inside a function")
            elif self.names.changed_by_alias(name):
                binding = replace(binding, doubt="is changed under another name")
            self._found[name] = binding
        return binding

    def binders(self, name: str) -> tuple[ast.stmt, ...]:
        """The statements alone, which are sooner found."""
        return self._find(name).statements

    def _find(self, name: str) -> Binding:
        innermost = len(self._levels) - 1
        for level in range(innermost, -1, -1):
            owner, blocks = self._levels[level]
            if isinstance(owner, ast.ClassDef) and level < innermost:
                continue  # a class body's names are not seen from the functions in it
            if isinstance(owner, _FUNCTIONS) and name in parameters(owner):
                return Binding(doubt=f"is a parameter of {owner.name}", varies=True)
            statements: Body = []
            doubt, varies = None, False
            for block, holder, inner in blocks:
                for statement in self.names.touching(block, name):
                    if statement is holder:
                        if around := _doubt(holder, inner, name):
                            doubt, varies = around, True
                    elif level == innermost and statement.lineno > self._site.lineno:
                        if name in changed_names(statement):
                            doubt = "is changed after its use here"
                    elif statements or isinstance(owner, ast.ClassDef):
                        statements.append(statement)
                    else:
                        statements += self._surely(statement, name)
            if statements or doubt:
                return Binding(tuple(statements), doubt, varies)
        return Binding()

    def _surely(self, statement: ast.stmt, name: str) -> Body:
        """The first statement to bind `name`, or those in the one branch of it that does: whoever reads
        the name later knows that this branch was gone through."""
        branches: list[Body] = []
        others: list[ast.AST] = []
        match statement:
            case ast.If(test=test, body=body, orelse=orelse):
                branches, others = [body, orelse], [test]
            case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=finalbody):
                branches, others = [body], [*handlers, *orelse, *finalbody]
        found = [inner for block in branches if (inner := self.names.touching(block, name))]
        elsewhere = (n for other in others for n in _touched(other))
        if len(found) != 1 or name in elsewhere or self.names.may_come_from_elsewhere(name):
            return [statement]
        (inner,) = found
        if isinstance(statement, ast.Try) and len(inner) > 1:
            return [statement]  # it may end between the two
        return [*self._surely(inner[0], name), *inner[1:]]

    def together(self, name: str) -> list[ast.stmt]:
        """The statements that decide `name`, with those for the other names that they change."""
        names, statements = {name}, set(self.binding(name).statements)
        while more := {n for s in statements for n in changed_names(s)} - names:
            names |= more
            statements |= {s for n in more for s in self.binding(n).statements}
        return sorted(statements, key=lambda statement: statement.lineno)


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> set[str]:
    arguments = function.args
    every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    return {a.arg for a in (*every, arguments.vararg, arguments.kwarg) if a is not None}


def own_names(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> set[str]:
    """The parameters of a function and the names that its body binds."""
    names = parameters(function)
    if isinstance(function, ast.Lambda):
        return names
    elsewhere: set[str] = set()
    for statement in function.body:
        names.update(bound_names(statement))
        for node in _own_nodes(statement):
            if isinstance(node, ast.Global | ast.Nonlocal):
                elsewhere |= set(node.names)
    return names - elsewhere


def bound_names(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement binds in the scope it stands in."""
    for node in _own_nodes(statement):
        yield from _bound(node)


def _bound(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            yield name
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            for alias in aliases:
                yield alias.asname or alias.name.partition(".")[0]
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
            yield name
        case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
            yield name


def changed_names(statement: ast.stmt) -> Iterator[str]:
    """The names whose list or dict a statement changes, as far as it shows."""
    for node in _own_nodes(statement):
        yield from _changed(node)


def _changed(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.AugAssign(target=ast.Name(id=name)):
            yield name
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr)) if attr in MUTATORS:
            yield name
        case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
            yield name
        case ast.Attribute(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
            yield name
        case ast.Expr(value=ast.Call(func=ast.Name(id="print"))):
            pass
        case ast.Expr(value=ast.Call(args=arguments)):  # a call for its effect, perhaps on them
            yield from (a.id for a in arguments if isinstance(a, ast.Name))


def _touched(node: ast.AST) -> Iterator[str]:
    """The names that anything in a statement or an expression binds or changes."""
    for inner in _own_nodes(node):
        yield from _bound(inner)
        yield from _changed(inner)


def _own_nodes(statement: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a statement without the insides of functions and classes in it."""
    pending: list[ast.AST] = [statement]
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, (*_FUNCTIONS, ast.ClassDef, ast.Lambda)):
            pending += ast.iter_child_nodes(node)


def _path(tree: ast.Module, site: ast.stmt) -> Iterator[tuple[ast.AST, Body, ast.stmt]]:
    """The blocks around a statement, outermost first: whose they are, and which of theirs holds it."""
    owner: ast.AST = tree
    while owner is not site:
        block, holder = next(
            (block, statement)
            for block in _blocks(owner)
            for statement in block
            if _first_line(statement) <= site.lineno <= (statement.end_lineno or 0)
            and any(node is site for node in ast.walk(statement))
        )
        yield owner, block, holder
        owner = holder


def _blocks(owner: ast.AST) -> Iterator[Body]:
    for field in ("body", "orelse", "finalbody"):
        yield getattr(owner, field, [])
    for part in (*getattr(owner, "handlers", ()), *getattr(owner, "cases", ())):
        yield part.body


def _first_line(statement: ast.stmt) -> int:
    """The line of a statement's first decorator, or its own."""
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return decorators[0].lineno if decorators else statement.lineno


def _doubt(holder: ast.stmt, block: Body, name: str) -> str | None:
    """Why a compound statement leaves open what `name` holds in the one of its blocks with the site."""
    parts: list[ast.AST] = [holder]
    match holder:
        case ast.If() | ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return None
        case ast.With():
            parts = [item.optional_vars for item in holder.items if item.optional_vars]
        case ast.Try():
            parts = [] if block is holder.body else list(holder.body)
    nodes = (node for part in parts for node in _own_nodes(part))
    if any(name in (*_bound(node), *_changed(node)) for node in nodes):
        return f"is bound by the {type(holder).__name__.lower()} statement around its use"
    return None
