"""`python -m nconvex.survey`."""

import sys

from nconvex.survey.command import main

sys.exit(main())
