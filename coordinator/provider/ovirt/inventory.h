#pragma once

#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "common/guarded.h"
#include "coordinator/provider/ovirt/client.h"
#include "coordinator/provider/ovirt/model.h"
#include "coordinator/provider/provider.h"

// Finding and reading one machine with all that belongs to it.
namespace vmferry::ovirt {

// Whether a name can stand in a search: a quote ends it, and a star matches anything even between
// quotes (source-ovirt.md 1.5).
bool is_searchable(std::string_view name);
// `name="my vm" and cluster="Default"`, to be percent-encoded.
std::string search_query(const std::string& name, const std::string& cluster_name);

// Thread-safe.
class Inventory {
 public:
  explicit Inventory(Client& client) : client_(client) {}

  // The id of the machine that `ref` means. NotFound with VMF-SRC-VM-NOT-FOUND; InvalidArgument
  // with VMF-SRC-VM-AMBIGUOUS naming every candidate with its cluster and id.
  Result<std::string> find_id(const VmRef& ref, std::stop_token stop);

  // The machine with everything below it. A link that cannot be followed fails the whole read.
  Result<Vm> read(const std::string& id, std::stop_token stop);

  // One machine's own values, without what lies below it.
  Result<Vm> read_state(const std::string& id, std::stop_token stop);

 private:
  struct Found {
    std::string id, cluster_id;
  };

  Result<std::vector<Found>> list_named(const VmRef& ref, std::stop_token stop);
  Result<std::optional<std::string>> cluster_id_of(const std::string& name, std::stop_token stop);
  Error ambiguous(const VmRef& ref, const std::vector<Found>& found, std::stop_token stop);

  Result<Document> read_tree(const std::string& id, std::stop_token stop);
  Result<void> complete(Document& document, std::stop_token stop);
  Result<void> complete_collection(Document& document, const char* name, std::stop_token stop);
  Result<void> complete_disks(Document& document, std::stop_token stop);
  Result<void> complete_cdroms(Document& document, std::stop_token stop);
  Result<void> complete_sharers(Vm& vm, std::stop_token stop);
  Result<void> complete_nics(Document& document, std::stop_token stop);
  Result<void> complete_domains(Document& document, std::stop_token stop);
  Result<Element> complete_reference(Document& document, Element reference, const std::string& path,
                                     std::stop_token stop);

  Client& client_;
};

}  // namespace vmferry::ovirt
