"""Cropped people in a re-identification layout: camera styles, places, crops, the data set, contact sheets."""
