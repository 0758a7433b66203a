// Pairs of a neighbour list that are within the cutoff, out of those that a search found.
#include <cstdint>

struct List {
    std::int64_t count;          // of pairs that were found
    const std::int64_t* sender;
    const std::int64_t* receiver;  // ascending
    const double* shift;         // lattice translations, three a pair
    double square;               // of the cutoff
    std::int64_t* place;         // of those within the cutoff among all
    std::int64_t kept;           // how many these are; below zero before the first time
    std::int64_t most;           // of one receiver
    double contact;              // square of the distance below which two atoms lie on each other
    std::int64_t touching;       // whether two of them do
};

static inline double translated(double distance, const double* shift, const double* cell) {
    return distance + (shift[0] * cell[0] + shift[1] * cell[3] + shift[2] * cell[6]);
}

template <bool periodic>
static double length_squared(const List& list, std::int64_t pair, const double* positions, const double* cell) {
    const double* to = positions + 3 * list.sender[pair];
    const double* from = positions + 3 * list.receiver[pair];
    double x = to[0] - from[0], y = to[1] - from[1], z = to[2] - from[2];
    if (periodic) {
        const double* shift = list.shift + 3 * pair;
        x = translated(x, shift, cell);
        y = translated(y, shift, cell + 1);
        z = translated(z, shift, cell + 2);
    }
    return x * x + y * y + z * z;
}

template <bool periodic>
static int measure(List& list, const double* positions, const double* cell) {
    std::int64_t kept = 0, most = 0, neighbours = 0, before = -1;
    bool changed = false, touching = false;
    for (std::int64_t pair = 0; pair < list.count; ++pair) {
        double square = length_squared<periodic>(list, pair, positions, cell);
        if (!(square < list.square)) continue;
        touching |= square < list.contact;
        neighbours = list.receiver[pair] == before ? neighbours + 1 : 1;
        before = list.receiver[pair];
        most = neighbours > most ? neighbours : most;
        changed |= kept >= list.kept || list.place[kept] != pair;
        list.place[kept++] = pair;
    }
    changed |= kept != list.kept;
    list.kept = kept;
    list.most = most;
    list.touching = touching;
    return changed;
}

// Whether other pairs are within the cutoff than at the last call. `cell` is null where nothing is periodic.
extern "C" int eqff_measure(List* list, const double* positions, const double* cell) {
    return cell ? measure<true>(*list, positions, cell) : measure<false>(*list, positions, cell);
}

// Of those within the cutoff: senders, receivers, and a table of them with `most` columns and a row for each atom.
extern "C" void eqff_keep(const List* list, std::int64_t atoms, std::int64_t* out) {
    std::int64_t* receiver = out + list->kept;
    std::int64_t* table = receiver + list->kept;
    for (std::int64_t edge = 0; edge < list->kept; ++edge) {
        out[edge] = list->sender[list->place[edge]];
        receiver[edge] = list->receiver[list->place[edge]];
    }
    std::int64_t edge = 0;
    for (std::int64_t atom = 0; atom < atoms; ++atom)
        for (std::int64_t column = 0; column < list->most; ++column) {
            bool filled = edge < list->kept && receiver[edge] == atom;
            *table++ = filled ? edge++ : list->kept;
        }
}
