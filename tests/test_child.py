"""Other people's code in a child process: what becomes of it when it misbehaves."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from codegen.child import Child, ChildFailed
from codegen.gpu import find_gpu
from codegen.outcome import BadInput
from codegen.toolchain import Compiler, UserFile

GPU = find_gpu("rtx-4090")


def importing(tmp_path, code):
    path = tmp_path / "kernel.py"
    path.write_text(code)
    with pytest.raises(BadInput) as caught:
        Compiler(UserFile("kernel.py", path), GPU)
    said = str(caught.value)
    assert said.startswith("kernel.py: ") and "\n" not in said
    return said


@pytest.mark.parametrize(
    ("code", "said"),
    [
        pytest.param(
            "import nothing_of_that_name",
            "line 1: ModuleNotFoundError",
            id="an import that is missing",
        ),
        pytest.param(
            "x = 1\nraise ValueError('no\\nway')", "line 2: ValueError: no way", id="an exception"
        ),
        pytest.param("import sys; sys.exit(3)", "calls sys.exit(3)", id="sys.exit"),
        pytest.param("import os; os._exit(4)", "exit status 4", id="ending the process"),
        pytest.param("import os; os.abort()", "SIGABRT", id="a crash"),
        pytest.param(
            "print('noise' * 10)\nimport os; os._exit(1)", "noise", id="its last words are kept"
        ),
        pytest.param("x = bytearray(1 << 45)", "ran out of memory", id="memory"),
        pytest.param(
            "import os\nfor fd in range(3, 64):\n  try: os.write(fd, b'rubbish\\n')\n  except OSError: pass",
            "wrote into the channel",
            id="writing over the channel",
        ),
    ],
)
def test_code_that_misbehaves_when_imported_gets_one_line(tmp_path, code, said):
    assert said in importing(tmp_path, code)


def test_code_that_hangs_is_ended_with_all_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr("codegen.toolchain.IMPORT_SECONDS", 4)
    pid = tmp_path / "pid"
    code = f"import subprocess, time\np = subprocess.Popen(['sleep', '600'])\nopen({str(pid)!r}, 'w').write(str(p.pid))\ntime.sleep(600)"
    started = time.monotonic()
    assert "ran longer than 4 s" in importing(tmp_path, code)
    assert time.monotonic() - started < 60
    with pytest.raises(ProcessLookupError):
        for _ in range(50):  # the kernel takes a moment to bury it
            os.kill(int(pid.read_text()), 0)
            time.sleep(0.1)


@pytest.mark.parametrize("rubbish", ["1", "{}", "[]", "null"])
def test_what_is_no_answer_is_not_taken_for_one(tmp_path, rubbish):
    code = f"import os\nfor fd in range(3, 64):\n  try: os.write(fd, b'{rubbish}\\n')\n  except OSError: pass"
    assert "wrote into the channel" in importing(tmp_path, code)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_when_the_program_is_stopped_its_children_end(tmp_path, sent):
    scale = (Path(__file__).parent / "cases" / "files" / "scale.py").read_text()
    pid, path = tmp_path / "pid", tmp_path / "k.py"
    # Endless in the interpreter: whoever waits for it waits long.
    endless = (
        "def scale(x):\n"
        "    import os\n"
        "    if os.environ['TRITON_INTERPRET'] == '1':\n"
        f"        open({str(pid)!r}, 'w').write(str(os.getpid()))\n"
        "        while True:\n"
        "            pass\n"
    )
    path.write_text(scale.replace("def scale(x):\n", endless))
    command = [
        sys.executable,
        "-m",
        "codegen",
        "retune",
        str(path),
        "--gpu",
        "rtx-4090",
        "--inputs",
        "float32[65536]",
    ]
    program = subprocess.Popen(
        command,
        cwd=Path(__file__).parent.parent,
        stderr=subprocess.DEVNULL,
        # A shell's background job, as tests may be one, ignores Ctrl-C, and so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    for _ in range(600):
        if pid.exists() and pid.read_text():
            break
        time.sleep(0.1)
    program.send_signal(sent)
    assert program.wait(20) != 0
    with pytest.raises(ProcessLookupError):
        for _ in range(100):
            os.kill(int(pid.read_text()), 0)
            time.sleep(0.1)


def test_who_was_ended_says_so_when_asked_again():
    child = Child("devices", env={})
    child.close()
    with pytest.raises(ChildFailed, match="was ended before"):
        child.ask({}, seconds=1)
