#pragma once

#include <cstddef>
#include <span>
#include <stop_token>
#include <string>
#include <thread>

#include "common/fd.h"
#include "tests/transfer/support/source_peers.h"

namespace vmferry::testing {

// An HTTP server whose answer has no length and no end: `body` once, then `rest` again and again
// for as long as the client takes it. An empty `rest`: nothing more comes, and the connection stays
// open.
class EndlessServer {
 public:
  EndlessServer(Bytes body, Bytes rest);
  std::string url() const;

 private:
  void serve(const std::stop_token& stop) const;

  const Bytes body_;
  const Bytes rest_;
  UniqueFd listener_;
  int port_ = 0;
  std::jthread thread_;
};

}  // namespace vmferry::testing
