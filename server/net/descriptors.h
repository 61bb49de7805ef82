// SPDX-License-Identifier: Apache-2.0
// File descriptors: who closes them, and how many the process may have.
#ifndef SERVER_NET_DESCRIPTORS_H_
#define SERVER_NET_DESCRIPTORS_H_

#include <cstddef>
#include <cstdint>
#include <utility>

namespace paligemma::net {

// Owns a file descriptor, or none.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { Close(); }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      Close();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }

  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }
  // Gives the descriptor away; the caller closes it.
  int Release() { return std::exchange(fd_, -1); }
  void Close();

 private:
  int fd_ = -1;
};

inline constexpr std::size_t kMaxManagementConnections = 1024;

// Raises the process's soft limit of descriptors to the hard one, where it can.
void RaiseDescriptorLimit();

// Returns the most connections of the management port: `wanted`, but no more than a quarter of the
// soft limit of descriptors.
std::size_t ManagementConnections(std::size_t wanted = kMaxManagementConnections);

// Returns the number of connections of the gRPC port that the soft limit of descriptors affords:
// what the management port, files and libraries leave, at two descriptors a connection.
std::int64_t AffordableConnections();

}  // namespace paligemma::net

#endif  // SERVER_NET_DESCRIPTORS_H_
