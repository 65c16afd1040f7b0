"""The refiner of this project: a sparse U-Net that decides among candidate surfaces at each selected pixel."""
