"""`python -m nconvex`: what there is."""

from nconvex.definitions import CITATION, VERSION

print(f"""nconvex {VERSION}: how nonconvex is the loss surface of a learning problem?

  python -m nconvex.quad          train two networks on a polynomial, connect them, draw the path
  python -m nconvex.mnist         the same with handwritten digits
  python -m nconvex.survey        statistics over many pairs, kept in a file, resumed after anything
  python -m nconvex.quad --help   every option, in the paper's terms

From Python: import nconvex as nc; help(nc)
To cite: {CITATION}""")
