// SPDX-License-Identifier: Apache-2.0
// The few calls of the driver that libtorch_cuda looks up in libcuda.so.1.
extern "C" {
int cuDevicePrimaryCtxGetState(int, unsigned* flags, int* active) {
  *flags = 0;
  *active = 1;
  return 0;
}
int cuCtxGetCurrent(void** context) {
  *context = reinterpret_cast<void*>(1);
  return 0;
}
int cuGetErrorString(int, const char** text) {
  *text = "error of the fake driver";
  return 0;
}
}
