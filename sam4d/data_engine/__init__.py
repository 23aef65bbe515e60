"""A whole drive labelled without a click: image masklets and a 4D reconstruction become masklets that agree between all sensors.

After the third part of SAM4D ("Segment Anything in Camera and LiDAR Streams", ICCV 2025, section 4), whose own code was never published.
"""
