/** The goods that the shop suggests; prices as a person would type them. */
export const goods = [
  { item: 'Tea, 100 g', price: '349.90' },
  { item: 'Desk lamp', price: '2490' },
  { item: 'Headphones', price: '7999.99' },
  { item: 'Bicycle', price: '34500' },
  { item: 'Laptop', price: '89990' },
  { item: 'Book', price: '640' },
];
