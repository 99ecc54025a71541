"""Cameras in, pictures with times out: files, image folders, network cameras; matching by time; writing."""
