"""`python -m nconvex.survey`."""

import sys

from nconvex.commands.survey import main

sys.exit(main())
