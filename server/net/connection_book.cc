// SPDX-License-Identifier: Apache-2.0
#include "server/net/connection_book.h"

namespace paligemma::net {

std::optional<Refusal> ConnectionBook::Enter(const std::optional<IpAddress>& address) {
  if (num_open_ >= limits_.all) return Refusal::kAll;
  if (IsCounted(address)) {
    const auto found = by_peer_.find(address->Peer());
    if (found != by_peer_.end() && found->second >= limits_.per_peer) return Refusal::kPeer;
    ++by_peer_[address->Peer()];
  }
  ++num_open_;
  return std::nullopt;
}

void ConnectionBook::Leave(const std::optional<IpAddress>& address) {
  --num_open_;
  if (!IsCounted(address)) return;
  const auto found = by_peer_.find(address->Peer());
  if (--found->second == 0) by_peer_.erase(found);
}

}  // namespace paligemma::net
