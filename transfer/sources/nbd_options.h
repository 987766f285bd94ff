#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

#include "common/backoff.h"

namespace vmferry {

// How patient an NBD source is, and how hard it pulls. Defaults: nbd-and-sinks.md 2.1, 2.5, 7.
struct NbdOptions {
  int max_connections = 4;  // used when the server offers multi-conn, else one
  int workers = 0;          // concurrent reads asked for; 0: from the measured round trip
  std::chrono::milliseconds connect_deadline{10'000};
  // Servers that allow N clients let the next one wait silently: a further connection is a bonus.
  std::chrono::milliseconds extra_connect_deadline{2'000};
  // No answer for that long with requests in flight: the connection is given up.
  std::chrono::milliseconds watchdog{120'000};
  // Told when a connection was given up for its silence, before the next one is dialed: a server
  // that is our own child is of no use any more. Never by two threads at once; empty:
  // nobody is told.
  std::function<void()> on_silence;
  // How long a lost server may stay away.
  std::chrono::milliseconds reconnect_limit{600'000};
  Backoff reconnect{.first = std::chrono::milliseconds(1'000)};
  // Waits before a chunk is read again that the server answered with an I/O error.
  std::vector<std::chrono::milliseconds> retry_delays{std::chrono::milliseconds(500),
                                                      std::chrono::milliseconds(2'000),
                                                      std::chrono::milliseconds(8'000)};
  // Allocation queries slower than this are not worth asking (VDDK, source-vmware.md 8.3).
  std::chrono::milliseconds slow_extents{60'000};
  // How often the peer has said, beside the protocol, that it has no memory for a read. Asked when
  // one fails; thread-safe. Empty: no peer says so.
  std::function<std::uint64_t()> memory_complaints;
  // Nothing is asked of a peer for that long after it has complained (source-vmware.md 8.4).
  std::chrono::milliseconds memory_pause{5'000};
};

}  // namespace vmferry
