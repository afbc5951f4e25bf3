"""The Bokeh figures of a run: each is made once, then updated by what happened since."""
