"""Keep what was served: a row for each prediction, in Parquet files by day and version.

```
predictions/
  day=2026-06-01/
    version=0123456789ab/
      web_1_7f3a.0-255.parquet      segments 0 to 255 of one writer
      web_1_7f3a.256-256.parquet    the last flush
      together_9c21.0-0.parquet     what several writers left, merged; its footer names what it covers
  .merge.lock, .sweep.lock          held while files are merged, and while old ones are cleared away
```

In an object store the same names are objects below a prefix, and there are no locks: `merging` says why.
"""

from __future__ import annotations

from rehone.predictions.entry import SERVED, Entry, drawn
from rehone.predictions.reading import Log
from rehone.predictions.shelf import Shelf, shelf_of
from rehone.predictions.writer import Writer

__all__ = ["SERVED", "Entry", "Log", "Shelf", "Writer", "drawn", "shelf_of"]
