"""`python -m tests.measure`: how right the classifier is, each figure beside its bar, with an interval, beside a plain baseline.

sets        labelled sets that somebody fetched: reading them, and dropping what is there twice
recipe      the one door to how a model is made; a change of `triage.classifier.train` is followed here alone
ground      what the measures share: the corpus, the model that ships, the baseline, the sets
scoring     the arithmetic: F1, calibration, intervals
report      a figure, a section, and both as text
page        the figures kept in docs/model/figures.json, and docs/model.md written from them
plots       the plots of that page
transfer    sets and kinds of text that the model has never seen; calibration; how sure; the corpus's size
projects    learned on some projects of a set, judged on others, and within each project
reference   the project's own reference set
learning    what people's corrections bring

No text of a set is kept or printed: numbers only.
"""
