/* Masks as COCO's compressed run lengths. run_lengths.py calls this and names the flags to compile it with.

   A mask is a grid of values and is meant upsampled to the image, by bilinear interpolation in float32. Between four
   cells that are all above the threshold, or all below, no pixel is computed. Along a column of pixels the mask is
   linear from one row of cells to the next, so that the end of a run is found by division; the pixels beside it are
   then computed by the formula of the full-frame way, and decide. No library is needed, not even C's own.

   Compressed form: rleToString in common/maskApi.c of pycocotools. */

#include <stdint.h>

/* So far from the threshold, rounding cannot matter, nor can a pixel lie on the wrong side of its neighbour. */
#define CERTAIN 1e-4f

/* Between four cells: no pixel is set, each is to be seen, all are set. */
enum { NONE, SOME, ALL };

const char source_sha256[] = SOURCE_SHA256; /* a test holds the library to its source */

typedef struct {
    uint8_t *out;       /* characters */
    int64_t room, size; /* of `out`, and how many there are: more than `room` when it does not suffice */
    int64_t place;      /* pixels that are encoded, column by column */
    int64_t start, end; /* of the last run of ones, which may go on in the next column */
    int64_t runs;       /* that are encoded */
    int64_t before[2];  /* lengths of the last two */
} Encoder;

static void put_run(Encoder *e, int64_t length) {
    int64_t rest = e->runs > 2 ? length - e->before[e->runs & 1] : length;
    int has_more;
    e->before[e->runs++ & 1] = length;
    do {
        int bits = (int)(rest & 31);
        rest >>= 5;
        has_more = bits & 16 ? rest != -1 : rest != 0;
        if (e->size < e->room) e->out[e->size] = (uint8_t)((has_more ? bits | 32 : bits) + '0');
        e->size++;
    } while (has_more);
}

static void put_ones(Encoder *e) {
    if (e->end < 0) return;
    put_run(e, e->start - e->place);
    put_run(e, e->end - e->start);
    e->place = e->end;
}

static void begin_mask(Encoder *e) {
    e->place = e->runs = 0;
    e->end = -1;
}

/* Add a run of ones; later ones lie behind it. */
static void add_ones(Encoder *e, int64_t start, int64_t end) {
    if (start == e->end) {
        e->end = end;
        return;
    }
    put_ones(e);
    e->start = start;
    e->end = end;
}

static void end_mask(Encoder *e, int64_t pixels) {
    put_ones(e);
    if (e->place < pixels || !e->runs) put_run(e, pixels - e->place);
}

/* Runs of ones in one column of pixels. */
typedef struct {
    Encoder *encoder;
    int64_t base;  /* the column's first pixel */
    int32_t since; /* the row in which the open run of ones begins; -1: none is open */
} Column;

static inline void turn(Column *column, int32_t y, int is_set) {
    if (is_set == (column->since >= 0)) return;
    if (!is_set && y > column->since) add_ones(column->encoder, column->base + column->since, column->base + y);
    column->since = is_set ? y : -1;
}

/* One axis of the image: the first pixel of each cell, from one before the grid to one behind it, and each pixel's share of
   the next cell. */
typedef struct {
    const int32_t *start;
    const float *share;
} Axis;

/* A pixel between four cells, rounded as the full-frame way rounds: first between rows, then between columns. */
static inline int is_set(const float *upper, const float *lower, float right_share, float lower_share, float threshold) {
    float left_share = 1.0f - right_share, upper_share = 1.0f - lower_share;
    float left = upper[0] * upper_share + lower[0] * lower_share;
    float right = upper[1] * upper_share + lower[1] * lower_share;
    return left * left_share + right * right_share > threshold;
}

static inline int is_certain(float value, float threshold) {
    return value > threshold + CERTAIN || value < threshold - CERTAIN;
}

/* Follow one column of pixels, at `right_share` between its columns of cells, through the rows y..end of one cell. */
static void cross_cell(Column *column, const float *upper, const float *lower, float right_share, int32_t y, int32_t end,
                       const float *share, float threshold) {
    float left_share = 1.0f - right_share;
    float first = upper[0] * left_share + upper[1] * right_share;
    float last = lower[0] * left_share + lower[1] * right_share;
    int is_first = first > threshold, is_last = last > threshold;
    if (!is_certain(first, threshold) || !is_certain(last, threshold)) {
        for (; y < end; y++) turn(column, y, is_set(upper, lower, right_share, share[y], threshold));
        return;
    }
    if (is_first != is_last) {
        float step = end - y > 1 ? share[y + 1] - share[y] : 1.0f;
        float ahead = ((threshold - first) / (last - first) - share[y]) / step;
        int32_t cross = ahead > 0 ? (ahead < (float)(end - y) ? y + (int32_t)ahead : end) : y;
        while (cross > y && is_set(upper, lower, right_share, share[cross - 1], threshold) == is_last) cross--;
        while (cross < end && is_set(upper, lower, right_share, share[cross], threshold) != is_last) cross++;
        if (cross > y) turn(column, y, is_first);
        y = cross;
    }
    if (y < end) turn(column, y, is_last);
}

/* Where a mask lies: the first column and row of its cells (0: the one before the grid) and their numbers, and the pixels
   that it may set, right and bottom exclusive. The last column and row of cells have no pixels of their own. */
typedef struct {
    int32_t first_column, first_row, columns, rows, left, top, right, bottom;
} Extent;

/* Return what the pixels between the cells at `kind` and their neighbours are. */
static inline int kind_between(const uint8_t *kind, int32_t columns) {
    int sum = kind[0] + kind[1] + kind[columns] + kind[columns + 1];
    return sum == 4 * NONE ? NONE : sum == 4 * ALL ? ALL : SOME;
}

static inline int32_t within(int32_t pixel, int32_t low, int32_t high) {
    return pixel < low ? low : pixel > high ? high : pixel;
}

static void encode_mask(Encoder *e, const float *values, const Extent *at, Axis down, Axis across, int64_t height,
                        float threshold, uint8_t *kinds, int32_t *pieces) {
    for (int32_t i = 0; i < at->columns * at->rows; i++)
        kinds[i] = (uint8_t)((values[i] >= threshold - CERTAIN) + (values[i] > threshold + CERTAIN));
    for (int32_t c = 0; c + 1 < at->columns; c++) {
        int32_t x = within(across.start[at->first_column + c], at->left, at->right);
        int32_t end = within(across.start[at->first_column + c + 1], at->left, at->right);
        int32_t n = 0, last = NONE; /* pieces of this column of cells: rows to be seen, and the first of those alike */
        if (x == end) continue;
        for (int32_t r = 0; r + 1 < at->rows; r++) {
            int kind = kind_between(kinds + r * at->columns + c, at->columns);
            if (kind == SOME || kind != last) pieces[n++] = r * 4 + kind;
            last = kind;
        }
        if (!n) continue;
        for (; x < end; x++) {
            Column column = {e, x * height, -1};
            for (int32_t k = 0; k < n; k++) {
                int32_t r = pieces[k] / 4, kind = pieces[k] % 4;
                int32_t y = within(down.start[at->first_row + r], at->top, at->bottom);
                int32_t y_end = within(down.start[at->first_row + r + 1], at->top, at->bottom);
                const float *upper = values + r * at->columns + c;
                if (kind != SOME) turn(&column, y, kind == ALL);
                else cross_cell(&column, upper, upper + at->columns, across.share[x], y, y_end, down.share, threshold);
            }
            turn(&column, at->bottom, 0);
        }
    }
}

/* Encode n masks of height×width pixels, whose cells follow each other in `values`. `kinds` has room for the cells of the
   largest mask, `pieces` for its rows. Returns the number of characters, and in `ends` [n] where those of each mask end;
   of characters beyond `room` none is written. */
int64_t encode_upsampled(const float *values, const Extent *extents, int64_t n, const int32_t *row_start,
                         const float *row_share, const int32_t *column_start, const float *column_share, int64_t height,
                         int64_t width, float threshold, uint8_t *kinds, int32_t *pieces, uint8_t *out, int64_t room,
                         int64_t *ends) {
    Encoder e = {out, room, 0, 0, 0, 0, 0, {0, 0}};
    for (int64_t i = 0; i < n; i++) {
        begin_mask(&e);
        encode_mask(&e, values, extents + i, (Axis){row_start, row_share}, (Axis){column_start, column_share}, height,
                    threshold, kinds, pieces);
        end_mask(&e, height * width);
        ends[i] = e.size;
        values += (int64_t)extents[i].columns * extents[i].rows;
    }
    return e.size;
}

/* Encode one mask of height×width pixels whose only set ones are those that are 1 in `pixels` [columns,rows], column by
   column, at (left, top). Returns the number of characters, as above. */
int64_t encode_pixels(const uint8_t *pixels, int64_t columns, int64_t rows, int64_t left, int64_t top, int64_t height,
                      int64_t width, uint8_t *out, int64_t room) {
    Encoder e = {out, room, 0, 0, 0, 0, 0, {0, 0}};
    begin_mask(&e);
    for (int64_t x = 0; x < columns; x++, pixels += rows) {
        Column column = {&e, (left + x) * height + top, -1};
        for (int64_t y = 0; y < rows; y++) turn(&column, (int32_t)y, pixels[y]);
        turn(&column, (int32_t)rows, 0);
    }
    end_mask(&e, height * width);
    return e.size;
}
