"""``python -m depth_retrofit_ros`` is ``depth-retrofit``."""

import sys

from depth_retrofit_ros.cli.main import main

sys.exit(main())
