"""xarray and pandas, or an error that says which extra brings them."""

from igrlib.experiments._extras import missing

try:
    import pandas as pd
    import xarray as xr
except ImportError as _error:
    raise missing(_error) from _error

__all__ = ["pd", "xr"]
