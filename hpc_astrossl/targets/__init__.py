"""What a network is asked for: classes, or magnitudes. A target knows its truth, its loss and its metrics.

Every target has the same few methods (``targets/classes.py`` is the shorter one to read):

``outputs``, ``headline``   number of outputs; the metric to print while training
``usable(table)``           which objects of a store can be used, bool (N,)
``strata(table)``           what a training subset must keep the proportions of, int (N,)
``truth(table)``            what the outputs are held against, (N,) or (N, bands)
``first_output(truth)``     the output layer's bias before the first step, (outputs,)
``losses(raw, truth)``      one loss an object, torch (B,), of the network's raw outputs
``answer(raw)``             what is reported: probabilities, or magnitudes
``metrics(answer, truth, losses)``   numbers over unique objects, numpy
``uncertainty(table, rows)`` what the truth's own error is, for ``predictions.npz``; an empty mapping when unknown
``shares(answers, truths)`` what ``result.json`` tells beside the metrics
"""
