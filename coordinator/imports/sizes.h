#pragma once

#include <cstdint>
#include <string>

#include "coordinator/imports/cluster_facts.h"

namespace vmferry::imports {

// ceil(round_up(bytes, 1 MiB) / (1 - overhead)) for Filesystem; Block volumes have no overhead.
std::uint64_t claim_size(std::uint64_t disk_bytes, double overhead, bool block);
// The class's overhead, else the global one; none where claims are files of exact size.
double overhead_for(const ClusterFacts& facts, const std::string& storage_class);

}  // namespace vmferry::imports
