"""The paper's refiner as it is written (2K Retrofit, sections 3.3 and 3.4): a value from RGB alone, blended with the coarse one."""
