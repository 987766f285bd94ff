#include "coordinator/provider/ovirt/pages.h"

#include <set>

namespace vmferry::ovirt {
namespace {

constexpr std::size_t kPageSize = 100;
constexpr std::size_t kMostMembers = 100'000;

}  // namespace

// Calls `take` once for each member. Pages are stateless: a member that moved may come twice, and
// an engine that does not page answers the same again.
Result<void> for_each(Client& client, const Collection& collection, std::stop_token stop,
                      const std::function<void(const Element&)>& take) {
  std::set<std::string> seen;
  for (std::size_t page = 1;; ++page) {
    std::string path = collection.path;
    if (collection.sort_by != nullptr) {
      const std::string search = fmt::format("sortby {} asc page {}", collection.sort_by, page);
      path += fmt::format("?search={}&max={}", url_encode(search), kPageSize);
      if (collection.follow != nullptr) path += fmt::format("&follow={}", collection.follow);
    }
    const Document list = TRY(client.fetch(path, stop));
    const std::vector<Element> members = list.root().children(collection.member);
    std::size_t fresh = 0;
    for (const Element& member : members) {
      if (!seen.insert(member.id()).second) continue;
      ++fresh;
      take(member);
    }
    if (seen.size() > kMostMembers) {
      return make_error(ErrorKind::ResourceExhausted, "the engine has more than {} of {}",
                        kMostMembers, collection.path);
    }
    const bool is_last = members.size() < kPageSize || fresh == 0;
    if (collection.sort_by == nullptr || is_last) return {};
  }
}

}  // namespace vmferry::ovirt
