"""Every call of the SDK, found by looking at it, and what each is sent when it is made with invented arguments."""

import collections.abc
import inspect
import signal

NOBODY = "0190a000-0000-7000-8000-000000000000"

# Arguments that cannot be guessed from a signature.
ARGUMENTS = {
    "client.bulk.sandboxes.destroy": {"ids": [NOBODY]},
    "client.bulk.sandboxes.pause": {"ids": [NOBODY]},
    "client.bulk.sandboxes.resume": {"ids": [NOBODY]},
    "client.sandboxes.resize": {"cpu_count": 1},
    "sandbox.resize": {"cpu_count": 1},
}

# They close or copy the client itself, or send whatever they are given.
NOT_CALLS = {"client.close", "client.with_tenant", "client.admin.request"}


def calls(of, name, depth=0):
    """Names and functions of an object of the SDK, with those of what hangs on it."""
    for attribute in sorted(dir(of)):
        if attribute.startswith("_") or depth > 4:
            continue
        try:
            value = getattr(of, attribute)
        except Exception:
            continue
        whole = f"{name}.{attribute}"
        is_resource = type(value).__module__.startswith("miosa") and not inspect.isroutine(value)
        if inspect.isroutine(value) and not inspect.iscoroutinefunction(value):
            if whole not in NOT_CALLS:
                yield whole, value
        elif is_resource:
            yield from calls(value, whole, depth + 1)
            if callable(value):
                try:
                    scoped = value(NOBODY)
                except Exception:
                    # A call that has others hanging on it.
                    yield whole, value
                else:
                    yield from calls(scoped, f"{whole}()", depth + 1)


def invented(parameter):
    kind = str(getattr(parameter.annotation, "__name__", parameter.annotation)).lower()
    first = kind.removeprefix("optional[").removeprefix("union[")
    if "callable" in kind:
        return lambda *_, **__: None
    if first.startswith(("list", "sequence", "iterable")):
        return ["x"] if "str" in kind else [{}]
    if first.startswith(("dict", "mapping")):
        return {"x": "y"}
    for start, value in (("bool", True), ("int", 3000), ("float", 1.0), ("bytes", b"x")):
        if first.startswith(start):
            return value
    return NOBODY if parameter.name == "id" or parameter.name.endswith("_id") else "x"


class Late(BaseException):
    """A call that polls goes on until somebody stops it."""


def make(name, call):
    """Makes a call. What becomes of it is seen on the wire; what the SDK says of the response does not matter here."""
    def late(*_):
        raise Late
    positional, named = [], dict(ARGUMENTS.get(name, {}))
    for parameter in inspect.signature(call).parameters.values():
        is_open = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if is_open or parameter.default is not parameter.empty or parameter.name in named:
            continue
        if parameter.kind == parameter.KEYWORD_ONLY:
            named[parameter.name] = invented(parameter)
        else:
            positional.append(invented(parameter))
    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, 2)
    try:
        result = call(*positional, **named)
        if isinstance(result, collections.abc.Iterator):
            next(result, None)
    except (Exception, Late):
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
