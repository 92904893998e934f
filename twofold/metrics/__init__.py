"""Metrics: ranked recommendations against held-out pairs, predictions against values.

Notation, for one row: L_1, L_2, ... are its recommended columns, best first, H is the set of its
relevant (held-out) columns, hit_j is 1 if L_j is in H and 0 otherwise, hits = hit_1 + ... + hit_k,
first is the smallest j with hit_j = 1, d_j = 1 / log2(j + 1), and P_j = (hit_1 + ... + hit_j) / j.
Packages give one name to different quotients. Here each has its own name; `get` finds it:

==================  =====================================================================
Name                Value of a row; the score is the mean over the rows with a relevant column
==================  =====================================================================
precision@k         hits / k
recall@k            hits / |H|
recall-min@k        hits / min(k, |H|)
ndcg@k              sum of hit_j d_j for j <= k / sum of d_j for j <= min(k, |H|)
ndcg-k@k            sum of hit_j d_j for j <= k / sum of d_j for j <= k
map@k               sum of hit_j P_j for j <= k / |H|
map-min@k           sum of hit_j P_j for j <= k / min(k, |H|)
map-hits@k          sum of hit_j P_j for j <= k / hits, 0 without hits
mrr@k               1 / first, 0 without hits
hit-rate@k          1 with a hit, 0 without
r-precision         (hit_1 + ... + hit_|H|) / |H|
mpd-r-precision     (hit_1 + ... + hit_|H| + 0.25 artists in common) / |H|
mpd-ndcg@k          NDCG as printed in the rules of the RecSys Challenge 2018
clicks@k            floor((first - 1) / 10), k / 10 + 1 without hits; the challenge has k = 500
==================  =====================================================================

==================  =====================================================================
Name                Value of the whole table; n_c counts the rows with column c in the first k
==================  =====================================================================
coverage@k          number of columns with n_c > 0 / number of columns
novelty@k           sum of n_c (-log2 p_c) / sum of n_c, p_c the share of training rows with c
gini@k              sum of (2 i - n - 1) n_(i) / (n sum of n_c), n_(1) <= ... <= n_(n)
==================  =====================================================================

==================  =====================================================================
Name                Error of the predictions p of pairs with the values v, over all pairs
==================  =====================================================================
rmse                square root of the mean of (p - v)^2
mae                 mean of |p - v|
==================  =====================================================================

A row without relevant columns has no value: it is NaN in the values of rows and left out of means.
A missing recommendation (-1) is a miss. `Judged` holds what all metrics have in common, so that it
is computed once; `statistics` has intervals and tests for the values of rows. The public names are
listed in ``__init__.pyi`` and loaded when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
