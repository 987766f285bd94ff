#pragma once

#include <functional>
#include <stop_token>

#include "common/result.h"
#include "coordinator/provider/ovirt/client.h"

namespace vmferry::ovirt {

// A collection below the API's root.
struct Collection {
  const char* path;     // "/vms"
  const char* member;   // the element of one member: "vm"
  const char* sort_by;  // so that pages fit together; nullptr: it has no search and comes whole
  const char* follow = nullptr;  // links to inline
};

// Calls `take` once for each member, page by page (source-ovirt.md 1.5). ResourceExhausted beyond
// 100,000 members; else as Client::fetch().
Result<void> for_each(Client& client, const Collection& collection, std::stop_token stop,
                      const std::function<void(const Element&)>& take);

}  // namespace vmferry::ovirt
