import subprocess
import sys

from search.terminal import say, warn


def test_each_line_is_one_of_its_own(capsys):
    say("one", "two")
    say("")
    assert capsys.readouterr() == ("one\ntwo\n\n", "")


def test_a_warning_goes_where_errors_go(capsys):
    warn("slow")
    assert capsys.readouterr() == ("", "slow\n")


def test_a_line_is_there_before_the_program_ends():
    code = "from search.terminal import say; say('begun'); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "begun\n"
        process.communicate("\n")
