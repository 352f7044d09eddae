"""A curator's work: the pipeline, masks, fills, refining, the side story and the team."""
