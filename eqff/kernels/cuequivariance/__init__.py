"""Messages by NVIDIA's cuEquivariance, where the setting asks for it; everything else is the device's own backend's."""
