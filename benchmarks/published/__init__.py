"""Published tables of recommender systems, computed again with the protocol of their papers."""
