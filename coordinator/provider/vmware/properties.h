#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/provider/vmware/client.h"

// Reading properties with RetrievePropertiesEx (source-vmware.md 2.1-2.3).
namespace vmferry::vmware {

// One object of an answer. `storage` keeps the nodes alive.
struct ObjectProperties {
  MoRef object;
  std::map<std::string, pugi::xml_node, std::less<>> values;  // absent: unset, or denied
  std::vector<std::string> denied;                            // paths we may not read
  std::shared_ptr<const void> storage;

  pugi::xml_node value(std::string_view path) const;  // a null node when absent
  std::string text(std::string_view path) const;
};

// The objects of one page of an answer, as they stand there.
std::vector<ObjectProperties> objects_of(const SoapReply& reply);

// Which paths to read of which type.
struct PropertyWish {
  std::string type;
  std::vector<std::string> paths;
};

// Some objects, or all that a traversal reaches from `start`.
struct ObjectWish {
  MoRef start;
  bool skip_start = false;
  std::vector<Node> select;  // TraversalSpec or SelectionSpec nodes named "selectSet"
};

// All objects, whatever the pages: each once. Faults are errors: a dead object NotFound.
Result<std::vector<ObjectProperties>> retrieve(Exchange& exchange,
                                               const std::vector<PropertyWish>& wishes,
                                               const std::vector<ObjectWish>& objects);

// One object; paths that this server's version does not know are left out of a second try.
Result<ObjectProperties> retrieve_one(Exchange& exchange, const MoRef& object,
                                      const std::vector<std::string>& paths,
                                      const std::vector<std::string>& newer_paths = {});

// Every object of one of `types` in the inventory, wherever it stands, page by page as the server
// gives them, through a view that is destroyed afterwards. An error of `take` ends the reading.
// `wishes` should name a type only once: servers differ in whether base types' paths add up.
using TakePage = std::function<Result<void>(std::vector<ObjectProperties> page)>;
Result<void> visit_all(Exchange& exchange, const std::vector<std::string>& types,
                       const std::vector<PropertyWish>& wishes, const TakePage& take);

// The same of one type, all at once.
Result<std::vector<ObjectProperties>> retrieve_all(Exchange& exchange, const std::string& type,
                                                   const std::vector<std::string>& paths);

// `object` and its ancestors up to the root folder, nearest first: name and parent of each.
struct Ancestor {
  MoRef object;
  std::string name;  // as the server escapes it: %2f, %5c, %25
};
Result<std::vector<Ancestor>> ancestors(Exchange& exchange, const MoRef& object);

}  // namespace vmferry::vmware
