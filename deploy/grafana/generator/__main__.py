"""Write the dashboards as JSON: ``python -m deploy.grafana.generator [DIRECTORY]``."""

import sys
from pathlib import Path

from deploy.grafana.generator.all import written

if __name__ == "__main__":
    written(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "dashboards")
