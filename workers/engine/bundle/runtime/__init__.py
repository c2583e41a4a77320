"""What a bundle needs to predict. Travels inside every bundle: relative imports, numpy and the standard library only.

Libraries that a member needs (LightGBM, CatBoost, scikit-learn, safetensors) are imported when that member is loaded.
"""

#: Raised whenever bundles written by this runtime can't be read by the one before.
FORMAT_VERSION = 3
#: What can be read: 2 added models over the members' predictions, and the temperature; 3 an encoder's last step.
READABLE_VERSIONS = (1, 2, 3)
