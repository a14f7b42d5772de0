"""What a network is asked for: classes, magnitudes, or properties measured from the image.

A target knows its truth, its loss and its metrics.

Every target has the same few methods (``targets/classes.py`` is the shorter one to read):

``Target(info, spec)``      of a store's attributes and a run's DataSpec (None: its defaults)
``outputs``, ``headline``   number of outputs; the metric to print while training
``columns(store)``          the table that the next three read: the store's, or one with measurements in it
``usable(table)``           which objects of a store can be used, bool (N,)
``strata(table)``           what a training subset must keep the proportions of, int (N,)
``truth(table)``            what the outputs are held against, (N,) or (N, bands)
``prepare(truth)``          told the training objects' truth once, in stretches, before the first loss
``first_output(truth)``     the output layer's bias before the first step, (outputs,), by the same
``losses(raw, truth)``      one loss an object, torch (B,), of the network's raw outputs
``answer(raw)``             what is reported: probabilities, or magnitudes
``metrics(answer, truth, losses)``   numbers over unique objects, numpy
``uncertainty(table, rows)`` what the truth's own error is, for ``predictions.npz``; an empty mapping when unknown
``shares(answers, truths)`` what ``result.json`` tells beside the metrics
"""
