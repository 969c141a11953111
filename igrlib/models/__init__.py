"""The models of the paper: functions of parameters and data, with what is known in closed form."""

from igrlib.models import two_parameter

__all__ = ["two_parameter"]
